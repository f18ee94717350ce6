"""Face landmarks by the published FaceMesh models, without their framework.

    mesh = FaceMesh()                  # fetches the models once
    face = mesh.find(picture)          # [H, W, 3] uint8; None without a face
    measures.head_angles(face.points)  # pitch, roll, yaw in degrees

Needs the extra `edtn-jax[facemesh]`; nothing here is imported without being
asked for.
"""

from data.facemesh.mesh import Face, FaceMesh

__all__ = ['Face', 'FaceMesh']
