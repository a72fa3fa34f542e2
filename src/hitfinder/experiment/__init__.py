"""What files and settings say together: geometry, beam, photons and masks of a job."""
