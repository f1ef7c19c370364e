"""What takes a commit to dev, staging and prod: the delivery pipeline, and GitHub's way in."""
