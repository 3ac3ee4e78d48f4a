"""What people keep or print: statements as JSON, CSV and PDF."""
