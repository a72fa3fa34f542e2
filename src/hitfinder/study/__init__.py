"""The study of Everett and Kurth (2024): data sets, networks, training, assessment."""
