"""Faces with a head pose, and the orders in which a rotation is taken apart into pitch, yaw and roll."""

from typing import Literal

Order = Literal["xyz", "zyx"]
ORDERS: dict[Order, str] = {
    "xyz": "R = Rx(-pitch) Ry(yaw) Rz(roll), as in 300W-LP",
    "zyx": "R = Rz(roll) Ry(yaw) Rx(-pitch)",
}
"""In a frame of x to the right of the picture, y down and z away from the camera."""
PARAMETERS: Order = "xyz"
"""The order of `Pose_Para` in 300W-LP and AFLW2000. Source: face3d, `angle2matrix_3ddfa`; deep-head-pose, issue 39."""
