"""What every room needs and no reader imports: files, processes, locks, YAML from strangers."""
