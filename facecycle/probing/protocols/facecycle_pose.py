"""The protocol `facecycle-pose`: `linear-pose` on head pose files as the paper's code read them."""

from facecycle.probing.protocols.linear_pose import LinearPose


class FaceCyclePose(LinearPose):
    """The files of FSA-Net, with their channels as stored and the whole test set. Source: the paper's public code."""

    name = "facecycle-pose"
    selection = f"{LinearPose.selection}; FSA-Net files with channels as stored (BGR), test set unfiltered"
    interval = "bootstrap over test images"
    maps = True
    data_options = {"channels": "as-stored"}
    test_options = {"filtered": False}
