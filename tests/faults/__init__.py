"""What goes wrong, on purpose: each case a fault at an instant, judged by what is left and by what was called ready."""
