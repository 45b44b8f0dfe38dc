"""The protocols by name: features, or pictures, and labels to numbers. The first one of a task is its usual one."""

from facecycle.probing.protocols.base import ProbeProtocol
from facecycle.probing.protocols.cosine_10fold import Cosine10Fold
from facecycle.probing.protocols.facecycle_pose import FaceCyclePose
from facecycle.probing.protocols.facecycle_raf import FaceCycleRaf
from facecycle.probing.protocols.linear import Linear
from facecycle.probing.protocols.linear_pose import LinearPose
from facecycle.probing.protocols.neutral import Neutral

PROTOCOLS: dict[str, ProbeProtocol] = {
    Linear.name: Linear(),
    FaceCycleRaf.name: FaceCycleRaf(),
    LinearPose.name: LinearPose(),
    FaceCyclePose.name: FaceCyclePose(),
    Cosine10Fold.name: Cosine10Fold(),
    Neutral.name: Neutral(),
}
