"""Everything on one machine: starts broker, service and tempo workers, and keeps them running."""
