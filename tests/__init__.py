"""Tests: `unit` needs no root and seconds; `local` starts real nodes on this machine."""
