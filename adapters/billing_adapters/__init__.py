"""Everything that touches the world: each adapter is a submodule and an extra of its own."""
