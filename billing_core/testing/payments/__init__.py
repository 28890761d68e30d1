"""The suite that proves a provider of payments right, for its author to import and run."""
