-- Modules written in Lua that are part of the program.
local preload, loaded = package.preload, package.loaded
local open_crypto = __open_crypto

-- ffi, and with it the functions of OpenSSL that libraries expect in the process
do
    local ffi = loaded.ffi or require "ffi"
    loaded.ffi = nil
    preload.ffi = function()
        open_crypto()
        return ffi
    end
end

-- tablepool: tables used again
preload.tablepool = function()
    local new_tab, clear_tab = require "table.new", require "table.clear"
    local type, setmetatable = type, setmetatable
    local POOL_MAX = 100
    local pools = {}
    local tablepool = { _VERSION = "0.03" }

    function tablepool.fetch(tag, narr, nrec)
        local pool = pools[tag]
        local count = pool and pool.count or 0
        if count == 0 then
            return new_tab(narr, nrec)
        end
        local object = pool[count]
        pool[count] = nil
        pool.count = count - 1
        return object
    end

    function tablepool.release(tag, object, noclear)
        if not object then
            error("object empty", 2)
        end
        local pool = pools[tag]
        if not pool then
            pool = { count = 0 }
            pools[tag] = pool
        end
        if not noclear then
            setmetatable(object, nil)
            clear_tab(object)
        end
        if pool.count < POOL_MAX then
            pool.count = pool.count + 1
            pool[pool.count] = object
        end
    end

    return tablepool
end

-- resty.lrucache: a cache of one worker. Nodes are in a ring around the cache's head, newest first.
local function lrucache()
    local ngx_now, setmetatable, tonumber, type, pairs = ngx.now, setmetatable, tonumber, type, pairs
    local methods = {}
    local meta = { __index = methods }
    local cache = { _VERSION = "0.15" }

    local function unlink(node)
        node.newer.older, node.older.newer = node.older, node.newer
    end

    local function link_newest(head, node)
        node.newer, node.older = head, head.older
        head.older.newer = node
        head.older = node
    end

    function cache.new(size)
        if type(size) ~= "number" or size < 1 then
            return nil, "size too small"
        end
        local head = {}
        head.newer, head.older = head, head
        return setmetatable({ nodes = {}, head = head, used = 0, max_items = size }, meta)
    end

    function methods:count()
        return self.used
    end

    function methods:capacity()
        return self.max_items
    end

    function methods:get(key)
        local node = self.nodes[key]
        if not node then
            return nil
        end
        local head = self.head
        if head.older ~= node then
            unlink(node)
            link_newest(head, node)
        end
        local expires = node.expires
        if expires and expires < ngx_now() then
            return nil, node.value, node.flags
        end
        return node.value, nil, node.flags
    end

    function methods:delete(key)
        local node = self.nodes[key]
        if not node then
            return false
        end
        self.nodes[key] = nil
        self.used = self.used - 1
        unlink(node)
        return true
    end

    function methods:set(key, value, ttl, flags)
        local nodes, head = self.nodes, self.head
        local node = nodes[key]
        if node then
            unlink(node)
        elseif self.used >= self.max_items then
            node = head.newer
            unlink(node)
            nodes[node.key] = nil
            nodes[key] = node
        else
            node = {}
            nodes[key] = node
            self.used = self.used + 1
        end
        node.key, node.value = key, value
        link_newest(head, node)
        node.expires = ttl and ngx_now() + ttl or false
        node.flags = type(flags) == "number" and flags >= 0 and flags or 0
    end

    function methods:get_keys(max_count, keys)
        if not max_count or max_count == 0 then
            max_count = self.used
        end
        keys = keys or {}
        local head, count = self.head, 0
        local node = head.older
        while node ~= head and count < max_count do
            count = count + 1
            keys[count] = node.key
            node = node.older
        end
        keys[count + 1] = nil
        return keys
    end

    function methods:flush_all()
        local head = self.head
        head.newer, head.older = head, head
        self.nodes, self.used = {}, 0
    end

    return cache
end

preload["resty.lrucache"] = lrucache
preload["resty.lrucache.pureffi"] = lrucache
