"""PIRenderer: one picture and a pose in, the moved picture out.

Ren et al., *PIRenderer: Controllable Portrait Image Generation via Semantic
Neural Rendering* (ICCV 2021). A mapping network turns the pose into a
descriptor, a warping network into a flow, an editing network mends the warped
picture. `FaceGenerator` joins them.
"""
