//! Free memory and the system.
//!
//! The allocator keeps what was freed and gives it back bit by bit as it goes on allocating. A worker whose connections have
//! all become idle does not allocate any more: what their requests needed would stay with it for good.

/// Gives memory that was freed back to the system now. Takes a millisecond or so: not for the way of a request.
pub fn release_free_memory() {
    // SAFETY: may be called at any time on any thread; without effect where another allocator serves the program.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
