"""What a job leaves in its folder, each thing by an output of its own."""
