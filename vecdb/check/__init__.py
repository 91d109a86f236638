"""Whether what is on disk holds together: everything that stands twice, compared."""
