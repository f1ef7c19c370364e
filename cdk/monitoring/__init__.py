"""What is watched: alarms, the dashboard, the schedule of the drift check, the logs' retention."""
