-- What is easier said in Lua than in Rust: the extensions of OpenResty's LuaJIT, and the modules of lua-resty-core, whose
-- functions are built in.
local loaded, preload = package.loaded, package.preload
local next, pairs, type, getmetatable, setmetatable = next, pairs, type, getmetatable, setmetatable

preload["table.nkeys"] = function()
    return function(t)
        local n = 0
        for _ in next, t do
            n = n + 1
        end
        return n
    end
end

preload["table.isempty"] = function()
    return function(t)
        return next(t) == nil
    end
end

preload["table.isarray"] = function()
    return function(t)
        for k in next, t do
            if type(k) ~= "number" or k < 1 or k % 1 ~= 0 then
                return false
            end
        end
        return true
    end
end

preload["table.clone"] = function()
    return function(t)
        if type(t) ~= "table" then
            error("bad argument #1 to 'clone' (table expected, got " .. type(t) .. ")", 2)
        end
        local copy = {}
        for k, v in next, t do
            copy[k] = v
        end
        return copy
    end
end

for _, name in ipairs { "nkeys", "isempty", "isarray", "clone", "new", "clear" } do
    local module = "table." .. name
    local f = preload[module] and preload[module]() or require(module)
    loaded[module] = f
    table[name] = f
end

-- one value per running task, as a thread's exdata would be
preload["thread.exdata"] = function()
    local key = {}
    return function(value)
        local ctx = ngx.ctx
        if value ~= nil then
            ctx[key] = value
            return
        end
        return ctx[key]
    end
end
preload["thread.exdata2"] = preload["thread.exdata"]

local version = "0.1.32"

local base = {
    version = version,
    new_tab = table.new,
    clear_tab = table.clear,
    FFI_OK = 0,
    FFI_ERROR = -1,
    FFI_DECLINED = -5,
    FFI_AGAIN = -2,
    FFI_DONE = -4,
    FFI_NO_REQ_CTX = -100,
    FFI_BAD_CONTEXT = -101,
}

function base.get_request()
    local phase = ngx.get_phase()
    if phase == "init" or phase == "init_worker" then
        return nil
    end
    return true
end

function base.allows_subsystem(...)
    for i = 1, select("#", ...) do
        if select(i, ...) == "http" then
            return
        end
    end
    error("unsupported subsystem: http", 2)
end

do
    local ffi = require "ffi"
    local buffer, size = nil, 4096
    function base.get_string_buf_size()
        return size
    end
    function base.set_string_buf_size(n)
        if type(n) ~= "number" or n < 1 then
            error("expecting at least 1", 2)
        end
        size, buffer = n, nil
    end
    function base.get_string_buf(n, fresh)
        if n > size then
            return ffi.new("unsigned char[?]", n)
        end
        if not buffer or fresh then
            buffer = ffi.new("unsigned char[?]", size)
        end
        return buffer
    end
    local sizep, errp
    function base.get_size_ptr()
        sizep = sizep or ffi.new("size_t[1]")
        return sizep
    end
    function base.get_errmsg_ptr()
        errp = errp or ffi.new("char *[1]")
        return errp
    end
    function base.ref_in_table(t, key)
        if key == nil then
            return -1
        end
        local ref = t[0]
        if ref and ref ~= 0 then
            t[0] = t[ref]
        else
            ref = #t + 1
        end
        t[ref] = key
        return ref
    end
end

loaded["resty.core.base"] = base
for _, name in ipairs {
    "regex", "uri", "hash", "base64", "request", "response", "shdict", "var", "ctx", "misc", "exit", "time", "worker",
    "phase", "ndk", "socket", "param", "coroutine", "utils",
} do
    loaded["resty.core." .. name] = { version = version, _VERSION = version }
end
loaded["resty.core.ctx"].get_ctx_table = function()
    return ngx.ctx
end
loaded["resty.core.utils"].str_replace_char = function(str, find, replace)
    return (str:gsub("%" .. find, (replace:gsub("%%", "%%%%"))))
end
loaded["resty.core"] = { version = version }

loaded["ngx.resp"] = { version = version, add_header = ngx.resp.add_header, set_status = ngx.resp.set_status }
loaded["ngx.req"] = { version = version, add_header = ngx.req.add_header }
loaded["ngx"] = ngx
loaded["ndk"] = ndk
