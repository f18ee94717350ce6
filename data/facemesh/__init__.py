"""Face landmarks by the published FaceMesh models, without their framework.

    mesh = FaceMesh()                  # fetches the models once
    face = mesh.find(picture)          # [H, W, 3] uint8; None without a face
    measures.head_angles(face.points)  # pitch, roll, yaw in degrees

`tracking.FaceTracker` follows a face through a moving picture, eyes included.
Needs the extra `edtn-jax[facemesh]`; nothing here is imported without being
asked for.
"""

from data.facemesh.mesh import Face, FaceMesh
from data.facemesh.tracking import FaceFrame, FaceTracker

__all__ = ['Face', 'FaceFrame', 'FaceMesh', 'FaceTracker']
