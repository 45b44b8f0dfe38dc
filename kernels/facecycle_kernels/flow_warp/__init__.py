"""flow_warp: resize a flow, add the identity grid, sample bilinearly with zeros outside."""

from facecycle_kernels.flow_warp.op import flow_warp

__all__ = ["flow_warp"]
