"""The 2.5D representation of Iqbal et al., ECCV 2018: pixels, depth relative to the root, and the lift to 3D.

Relative depth is in units of the reference bone. Of the pose only its scale is then unknown, and the depth of the
root follows in closed form from the condition that the reference bone has unit length.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.skeletons.skeleton import Skeleton

# A reference bone seen end-on tells nothing about scale. Squared lengths, in units of the reference bone at unit
# depth for the perspective lift (0.006 px at a focal length of 600 px), and in pixels for the weak-perspective one.
_END_ON = 1e-10
_END_ON_PX = 1e-4
_IN_FRONT = 1e-3  # smallest depth of a joint, in reference bones, where the lift has no solution
_LEAST_FORESHORTENING = 0.1  # weak perspective: smallest share of the reference bone that lies across the view


def relative_depth(joints_m: Float[Tensor, "B J 3"], skeleton: Skeleton) -> Float[Tensor, "B J"]:
    """(z - z_root) / length of the reference bone (Iqbal et al., Eq. 3).

    Zero where that bone has no length, as where joints without a label are zero and not valid.
    """
    depth_m = joints_m[..., 2]
    length_m = reference_length(joints_m, skeleton)[:, None]
    known = length_m > 0
    return torch.where(known, (depth_m - depth_m[:, [skeleton.root]]) / torch.where(known, length_m, 1), 0)


def cube_depth(joints_m: Float[Tensor, "B J 3"], centre_m: Float[Tensor, "B 3"], cube_m: float) -> Float[Tensor, "B J"]:
    """Depth from the middle of a metric cube, in halves of its side."""
    return (joints_m[..., 2] - centre_m[:, None, 2]) / (cube_m / 2)


def lift_from_cube(
    uv_px: Float[Tensor, "B J 2"],
    depth: Float[Tensor, "B J"],
    camera: Camera,
    centre_m: Float[Tensor, "B 3"],
    cube_m: float,
) -> Float[Tensor, "B J 3"]:
    """Joints in the camera frame from pixels and ``cube_depth``; metres. Nothing is left to guess."""
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
    """Joints in the camera frame from the 2.5D pose, and where that is a true solution (Iqbal et al., Eq. 4 to 7).

    Joints are in metres where the length of the reference bone is given, otherwise in units of it. The camera's
    matrix may hold any crop, mirror image or rotation, and a lens distortion. Computed in float64, as the bone is a
    small difference of rays; returned in the precision of ``uv_px``.

    Of the quadratic's two roots the larger is taken: whenever the smaller puts every joint in front of the camera,
    the larger does too. It is the wrong one only where the reference bone points so nearly along the viewing ray
    that perspective turns its image round (it leans less from the optical axis than the ray does, to the same
    side); both poses then agree with all that is given, so no choice from these data could be right always.

    Not valid, yet finite, are poses whose quadratic has no real root (the depth then brings the bone's length as
    near to one as it gets), whose reference bone is seen end-on, or that would put a joint at or behind the camera
    (the root is then moved until every joint is in front), or inputs that are not finite (zeros).
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
    """Depth of the root at which the reference bone has unit length, and whether there is one."""
    n, m = reference
    # P_n - P_m = (z + d_n) r_n - (z + d_m) r_m = z a + b, of length 1: |a|^2 z^2 + 2 a.b z + |b|^2 - 1 = 0
    a = rays[:, n] - rays[:, m]
    b = depth[:, n, None] * rays[:, n] - depth[:, m, None] * rays[:, m]
    aa, ab, bb = (a * a).sum(-1), (a * b).sum(-1), (b * b).sum(-1)
    discriminant = ab.square() - aa * (bb - 1)
    seen, positive = aa > _END_ON, discriminant > 0
    # The guards stand before root and quotient, so that gradients stay finite too.
    root = torch.where(positive, discriminant, 1).sqrt() * positive
    return torch.where(seen, (root - ab) / torch.where(seen, aa, 1), 0), seen & (discriminant >= 0)


def lift_weak_perspective(
    uv_px: Float[Tensor, "B J 2"],
    relative_depth: Float[Tensor, "B J"],
    skeleton: Skeleton,
    reference_length_m: Float[Tensor, "B"] | None = None,
) -> tuple[Float[Tensor, "B J 3"], Bool[Tensor, "B"]]:
    """Root-relative joints from the 2.5D pose of an image without intrinsics, and where that is a true solution.

    All joints are taken to be as far away as the root (an error of about the pose's depth over its distance), pixels
    to be square and the image not mirrored. The reference bone's unit length then gives the scale:
    |uv_n - uv_m|^2 / s^2 + (d_n - d_m)^2 = 1, s in pixels per reference bone. Metres where its length is given,
    otherwise units of it. Not valid, yet finite, where the bone is seen end-on (less than a tenth of it across the
    view, or less than 0.01 px) and where inputs are not finite (zeros).
    """
    uv, depth, finite = _finite_pose(uv_px, relative_depth)
    px_per_bone, seen = _weak_perspective_scale(uv, depth, skeleton)
    root = skeleton.root
    joints = torch.cat(
        [(uv - uv[:, [root]]) / px_per_bone[:, None, None], (depth - depth[:, [root]])[..., None]], dim=-1
    )
    if reference_length_m is not None:
        joints = joints * reference_length_m.double()[:, None, None]
    return joints.to(uv_px.dtype), finite & seen


def _finite_pose(
    uv_px: Float[Tensor, "B J 2"], relative_depth: Float[Tensor, "B J"]
) -> tuple[Float[Tensor, "B J 2"], Float[Tensor, "B J"], Bool[Tensor, "B"]]:
    """In float64, zeros where a pose is not finite, and which are."""
    finite = uv_px.isfinite().all(dim=(-2, -1)) & relative_depth.isfinite().all(dim=-1)
    uv = uv_px.double().masked_fill(~finite[:, None, None], 0)
    return uv, relative_depth.double().masked_fill(~finite[:, None], 0), finite


def _weak_perspective_scale(
    uv_px: Float[Tensor, "B J 2"], relative_depth: Float[Tensor, "B J"], skeleton: Skeleton
) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
    """Pixels per reference bone, and where the bone tells them."""
    n, m = skeleton.reference
    across_px2 = (uv_px[:, n] - uv_px[:, m]).square().sum(-1)
    across2 = 1 - (relative_depth[:, n] - relative_depth[:, m]).square()
    least = _LEAST_FORESHORTENING**2
    seen = (across_px2 > _END_ON_PX) & (across2 > least)
    return (across_px2.clamp_min(_END_ON_PX) / across2.clamp_min(least)).sqrt(), seen


@dataclass(frozen=True)
class LiftedPose:
    """Poses lifted to space, in units of the reference bone, and the way back to their pixels.

    Made by ``lift_pose``. Where the image is a mirror image (a left hand shown as a right one) so is the space: what is
    shown as a right hand is one.
    """

    joints: Float[Tensor, "B J 3"]
    valid: Bool[Tensor, "B"]
    camera: Camera | None  # None: weak perspective
    root_px: Float[Tensor, "B 2"]
    px_per_bone: Float[Tensor, "B"]

    def project(self, joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J 2"]:
        """Pixels of other poses in the same space."""
        if self.camera is not None:
            return self.camera.project(joints)
        return self.root_px[:, None] + self.px_per_bone[:, None, None] * joints[..., :2]


def lift_pose(
    uv_px: Float[Tensor, "B J 2"], relative_depth: Float[Tensor, "B J"], camera: Camera | None, skeleton: Skeleton
) -> LiftedPose:
    """The lift of Iqbal et al. through the camera, or by weak perspective where there is none."""
    root_px = uv_px[:, skeleton.root]
    if camera is None:
        joints, valid = lift_weak_perspective(uv_px, relative_depth, skeleton)
        scale, _ = _weak_perspective_scale(*_finite_pose(uv_px, relative_depth)[:2], skeleton)
        return LiftedPose(joints, valid, None, root_px, scale.to(uv_px.dtype))
    unmirrored = camera.unmirrored()
    joints, valid = lift(uv_px, relative_depth, unmirrored, skeleton)
    return LiftedPose(joints, valid, unmirrored, root_px, torch.ones_like(relative_depth[:, 0]))
