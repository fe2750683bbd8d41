"""ROS 2 floor: the only place that imports rclpy and message packages."""
