"""The acceptance list of one DL/T 645 meter, on the bench or simulated, and the report that a lab can sign."""
