//! Shared memory zones, a robust lock, a slab allocator and the tables built on them.
