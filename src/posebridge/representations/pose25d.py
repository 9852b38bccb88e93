"""The 2.5D pose representation (Iqbal et al., ECCV 2018): pixels, root-relative depth, and the lift to 3D.

Relative depth is in units of the reference bone. The scale of the pose is then unknown, and the depth of the root
follows in closed form from the unit length of the reference bone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.geometry.boxes import JOINT_BOX_PADDING
from posebridge.skeletons.skeleton import Skeleton

# A reference bone that points at the camera doesn't determine the scale. Squared lengths below which it does so: in
# units of the bone at unit depth (0.006 px at a focal length of 600 px), and in pixels for weak perspective.
_END_ON = 1e-10
_END_ON_PX = 1e-4
_IN_FRONT = 1e-3  # smallest depth of a joint, in reference bones, if the lift has no solution
_MIN_EXTENT = 1e-6  # reference bones: the extent of a pose by which its pixels are scaled
_MIN_ACROSS = 0.1  # weak perspective: smallest component of the unit reference bone across the view


def relative_depth(joints_m: Float[Tensor, "B J 3"], skeleton: Skeleton) -> Float[Tensor, "B J"]:
    """(z - z_root) / length of the reference bone (Iqbal et al., Eq. 3).

    Zero if the bone has no length, as for unlabelled joints, which are zero.
    """
    depth_m = joints_m[..., 2]
    length_m = reference_length(joints_m, skeleton)[:, None]
    known = length_m > 0
    return torch.where(known, (depth_m - depth_m[:, [skeleton.root]]) / torch.where(known, length_m, 1), 0)


def cube_depth(joints_m: Float[Tensor, "B J 3"], centre_m: Float[Tensor, "B 3"], cube_m: float) -> Float[Tensor, "B J"]:
    """Depth relative to the centre of a metric cube, in half sides: [-1, 1] inside."""
    return (joints_m[..., 2] - centre_m[:, None, 2]) / (cube_m / 2)


def lift_from_cube(
    uv_px: Float[Tensor, "B J 2"],
    depth: Float[Tensor, "B J"],
    camera: Camera,
    centre_m: Float[Tensor, "B 3"],
    cube_m: float,
) -> Float[Tensor, "B J 3"]:
    """Joints in the camera frame, in metres, from pixels and ``cube_depth``."""
    return camera.unproject(uv_px, centre_m[:, None, 2] + depth * cube_m / 2)


def reference_length(joints_m: Float[Tensor, "B J 3"], skeleton: Skeleton) -> Float[Tensor, "B"]:
    """Length of the reference bone, in the unit of the joints."""
    start, end = skeleton.reference
    return (joints_m[:, start] - joints_m[:, end]).norm(dim=-1)


def lift(
    uv_px: Float[Tensor, "B J 2"],
    relative_depth: Float[Tensor, "B J"],
    camera: Camera,
    skeleton: Skeleton,
    reference_length_m: Float[Tensor, "B"] | None = None,
) -> tuple[Float[Tensor, "B J 3"], Bool[Tensor, "B"]]:
    """Joints in the camera frame from 2.5D poses, and whether they are exact (Iqbal et al., Eq. 4 to 7).

    Joints are in metres if ``reference_length_m`` is given, else in units of the reference bone. The camera may include
    crops, mirroring, rotations and lens distortion. Computed in float64, as the bone is a small difference of rays, and
    returned in the dtype of ``uv_px``.

    The larger root of the quadratic is taken: whenever the smaller one puts all joints in front of the camera, the
    larger one does too. It is wrong only for a reference bone so close to the viewing ray that perspective reverses its
    image. Both roots are then consistent with the input.

    Results are finite but not valid if the quadratic has no real root (the bone's length is then as close to one as
    possible), if the reference bone points at the camera, if a joint would lie at or behind the camera (the root is
    then moved until all joints are in front), or if inputs are not finite (zeros).
    """
    finite = uv_px.isfinite().all(dim=(-2, -1)) & relative_depth.isfinite().all(dim=-1)
    uv = uv_px.double().masked_fill(~finite[:, None, None], 0)
    depth = relative_depth.double().masked_fill(~finite[:, None], 0)
    precise = Camera(camera.K.double(), None if camera.distortion is None else camera.distortion.double())
    rays = precise.rays(uv)
    z_root, valid = _root_depth(rays, depth, skeleton.reference)

    nearest = depth.amin(dim=-1)
    valid = valid & finite & (z_root + nearest > 0)
    z_root = torch.where(valid, z_root, torch.maximum(z_root, _IN_FRONT - nearest))
    joints = (z_root[:, None] + depth)[..., None] * rays * finite[:, None, None]
    if reference_length_m is not None:
        joints = joints * reference_length_m.double()[:, None, None]
    return joints.to(uv_px.dtype), valid


def _root_depth(
    rays: Float[Tensor, "B J 3"], depth: Float[Tensor, "B J"], reference: tuple[int, int]
) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
    """Depth of the root at which the reference bone has unit length, and whether it exists."""
    n, m = reference
    # P_n - P_m = (z + d_n) r_n - (z + d_m) r_m = z a + b, of length 1: |a|^2 z^2 + 2 a.b z + |b|^2 - 1 = 0
    a = rays[:, n] - rays[:, m]
    b = depth[:, n, None] * rays[:, n] - depth[:, m, None] * rays[:, m]
    aa, ab, bb = (a * a).sum(-1), (a * b).sum(-1), (b * b).sum(-1)
    discriminant = ab.square() - aa * (bb - 1)
    determined, positive = aa > _END_ON, discriminant > 0
    # Operands are masked before root and division, so that gradients are finite.
    root = torch.where(positive, discriminant, 1).sqrt() * positive
    return torch.where(determined, (root - ab) / torch.where(determined, aa, 1), 0), determined & (discriminant >= 0)


def lift_weak_perspective(
    uv_px: Float[Tensor, "B J 2"],
    relative_depth: Float[Tensor, "B J"],
    skeleton: Skeleton,
    reference_length_m: Float[Tensor, "B"] | None = None,
) -> tuple[Float[Tensor, "B J 3"], Bool[Tensor, "B"]]:
    """Root-relative joints from 2.5D poses of images without intrinsics, and whether they are valid.

    All joints are projected at the depth of the root; the relative error is about the pose's depth over its distance.
    Pixels are assumed square and the image not mirrored. The unit length of the reference bone gives the scale s in
    pixels per bone: |uv_n - uv_m|^2 / s^2 + (d_n - d_m)^2 = 1. Joints are in metres if ``reference_length_m`` is given,
    else in units of the bone. Results are finite but not valid if less than a tenth of the bone, or less than 0.01 px,
    lies across the view, or if inputs are not finite (zeros).
    """
    uv, depth, finite = _finite_pose(uv_px, relative_depth)
    px_per_bone, determined = _weak_perspective_scale(uv, depth, skeleton)
    root = skeleton.root
    joints = torch.cat(
        [(uv - uv[:, [root]]) / px_per_bone[:, None, None], (depth - depth[:, [root]])[..., None]], dim=-1
    )
    if reference_length_m is not None:
        joints = joints * reference_length_m.double()[:, None, None]
    return joints.to(uv_px.dtype), finite & determined


def _finite_pose(
    uv_px: Float[Tensor, "B J 2"], relative_depth: Float[Tensor, "B J"]
) -> tuple[Float[Tensor, "B J 2"], Float[Tensor, "B J"], Bool[Tensor, "B"]]:
    """Poses in float64, zero where not finite, and whether they are finite."""
    finite = uv_px.isfinite().all(dim=(-2, -1)) & relative_depth.isfinite().all(dim=-1)
    uv = uv_px.double().masked_fill(~finite[:, None, None], 0)
    return uv, relative_depth.double().masked_fill(~finite[:, None], 0), finite


def _weak_perspective_scale(
    uv_px: Float[Tensor, "B J 2"], relative_depth: Float[Tensor, "B J"], skeleton: Skeleton
) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
    """Pixels per reference bone, and whether the bone determines them."""
    n, m = skeleton.reference
    across_px2 = (uv_px[:, n] - uv_px[:, m]).square().sum(-1)
    across2 = 1 - (relative_depth[:, n] - relative_depth[:, m]).square()
    min_across2 = _MIN_ACROSS**2
    determined = (across_px2 > _END_ON_PX) & (across2 > min_across2)
    return (across_px2.clamp_min(_END_ON_PX) / across2.clamp_min(min_across2)).sqrt(), determined


def fill_crop(
    across: Float[Tensor, "B J 2"], size_px: int, padding: float = JOINT_BOX_PADDING
) -> Float[Tensor, "B J 2"]:
    """Pixels of joints in square crops that are cut around them, from their positions across the view in any unit.

    The box of the joints lies in the middle of the crop, whose side is ``padding`` times the box's larger side. So
    pixels follow for networks that predict poses in space alone.
    """
    low, high = across.amin(dim=1, keepdim=True), across.amax(dim=1, keepdim=True)
    extent = (high - low).amax(dim=2, keepdim=True).clamp_min(_MIN_EXTENT)
    return (size_px - 1) / 2 + (across - (low + high) / 2) * (size_px / padding / extent)


@dataclass(frozen=True)
class LiftedPose:
    """Poses lifted to 3D by ``lift_pose``, in units of the reference bone, with the projection to their pixels.

    For mirrored images (a left hand shown as a right one) the 3D space is mirrored too, so all hands are right hands.
    """

    joints: Float[Tensor, "B J 3"]
    valid: Bool[Tensor, "B"]
    camera: Camera | None  # None: weak perspective
    root_px: Float[Tensor, "B 2"]
    px_per_bone: Float[Tensor, "B"]

    def project(self, joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J 2"]:
        """Pixels of poses given in the same space."""
        if self.camera is not None:
            return self.camera.project(joints)
        return self.root_px[:, None] + self.px_per_bone[:, None, None] * joints[..., :2]


def lift_pose(
    uv_px: Float[Tensor, "B J 2"], relative_depth: Float[Tensor, "B J"], camera: Camera | None, skeleton: Skeleton
) -> LiftedPose:
    """2.5D poses lifted through the camera (``lift``), or by weak perspective if there is none."""
    root_px = uv_px[:, skeleton.root]
    if camera is None:
        joints, valid = lift_weak_perspective(uv_px, relative_depth, skeleton)
        scale, _ = _weak_perspective_scale(*_finite_pose(uv_px, relative_depth)[:2], skeleton)
        return LiftedPose(joints, valid, None, root_px, scale.to(uv_px.dtype))
    unmirrored = camera.unmirrored()
    joints, valid = lift(uv_px, relative_depth, unmirrored, skeleton)
    return LiftedPose(joints, valid, unmirrored, root_px, torch.ones_like(relative_depth[:, 0]))
