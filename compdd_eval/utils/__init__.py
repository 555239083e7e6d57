"""What every package stands on; knows nothing of images or students."""
