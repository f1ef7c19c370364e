"""What runs on the device: nothing here needs torch, boto3 or the rest of this project."""
