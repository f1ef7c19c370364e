"""Under a nucleus of AWS IoT Greengrass: telemetry to IoT Core, requests and responses on topics.

Both go through the nucleus' IPC socket with the AWS IoT Device SDK, which is imported only when
it is used: the service runs without it, and without a nucleus.
"""
