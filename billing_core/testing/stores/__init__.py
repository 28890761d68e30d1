"""The suite that proves a store right, point by point, for its author to import and run."""
