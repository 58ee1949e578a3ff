"""The routers on which several modules hang operations: one path stands on one router only."""

from ninja import Router

clusters = Router(tags=["Clusters"])
nodes = Router(tags=["Nodes"])
