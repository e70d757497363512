"""livespot spots micro- and macro-expressions of faces in live video."""
