"""What people see: tables, formats, pages, pictures of timelines."""
