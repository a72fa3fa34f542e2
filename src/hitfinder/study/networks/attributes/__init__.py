"""The packaged configurations of the four attributes, one TOML file each."""
