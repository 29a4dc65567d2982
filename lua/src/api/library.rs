//! Modules of OpenResty's bundle that `require` finds without a path: `resty.lrucache`, `tablepool`, and what libraries
//! expect of the process when they call C through `ffi`.

use super::{Function, run_text};
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, State, library};
use crate::function;
use crate::phase::Phases;

/// What `ffi` does before it is handed out for the first time.
static OPEN_CRYPTO: Function =
    function!("libcrypto", Phases::ANY, "Opens the system's libcrypto, if there is one.", open_crypto);

/// Makes the modules known to `require`.
pub(crate) fn setup(lua: State<'_>) {
    // the text gets `package.preload` and the function in a global that is gone afterwards
    lua.push_function(OPEN_CRYPTO.raw);
    lua.raw_set_field(State::GLOBALS, "__open_crypto");
    run_text(lua, include_bytes!("../lib/preload.lua"), c"=(preload)", 0);
    lua.push_nil();
    lua.raw_set_field(State::GLOBALS, "__open_crypto");
}

/// Libraries like resty.sha256 and resty.aes call OpenSSL's functions as functions of the process, which in nginx they are.
fn open_crypto(call: &mut Call<'_>) -> Result {
    let opened = [c"libcrypto.so.3", c"libcrypto.so.1.1"].into_iter().any(library::open_for_all);
    call.lua.push_bool(opened);
    Ok(Returns::ONE)
}
