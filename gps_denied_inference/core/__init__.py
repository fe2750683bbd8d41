"""ROS-free floor: images in, features out. Testable without ROS, GPU or Jetson."""
