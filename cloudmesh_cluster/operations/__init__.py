"""What `cm` does: each module reads top to bottom like section "What happens in create" of the docs."""
