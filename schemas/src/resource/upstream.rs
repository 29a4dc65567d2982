//! Upstreams.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An upstream.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // each is the field of its name
pub struct Upstream {
    pub name: Option<Box<str>>,
    #[serde(deserialize_with = "nodes")]
    pub nodes: Vec<Node>,
    /// `roundrobin`, `chash`, `least_conn`, `ewma`.
    #[serde(rename = "type")]
    pub method: Option<Box<str>>,
    pub hash_on: HashOn,
    pub key: Option<Box<str>>,
    pub retries: Option<u64>,
    pub retry_timeout: Option<f64>,
    pub timeout: Option<Timeout>,
    pub scheme: Scheme,
    pub pass_host: PassHost,
    pub upstream_host: Option<Box<str>>,
    pub keepalive_pool: Option<KeepalivePool>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Name or address; IPv6 addresses without brackets.
    pub host: Box<str>,
    /// Its port; `None`: the scheme's.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its share.
    pub weight: u32,
    /// Nodes of lower priority are used when none of higher priority is left.
    #[serde(default)]
    pub priority: i64,
}

/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[allow(missing_docs)] // each is the field of its name
pub struct Timeout {
    pub connect: f64,
    pub send: f64,
    pub read: f64,
}

/// What a `chash` upstream hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each is the value of its name
pub enum HashOn {
    #[default]
    Vars,
    Header,
    Cookie,
    Consumer,
    VarsCombinations,
}

/// The protocol of its servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each is the value of its name
pub enum Scheme {
    #[default]
    Http,
    Https,
    Grpc,
    Grpcs,
    Tcp,
    Tls,
    Udp,
    Kafka,
}

impl Scheme {
    /// The port of nodes that name none.
    pub fn port(self) -> u16 {
        match self {
            Scheme::Https | Scheme::Grpcs => 443,
            _ => 80,
        }
    }
}

/// The `Host` that is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassHost {
    /// The client's.
    #[default]
    Pass,
    /// The node's.
    Node,
    /// `upstream_host`.
    Rewrite,
}

/// Idle connections.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeepalivePool {
    /// How many.
    pub size: usize,
    /// How long, seconds.
    pub idle_timeout: f64,
    /// Requests after which one is closed.
    pub requests: u64,
}

impl Default for KeepalivePool {
    fn default() -> Self {
        Self { size: 320, idle_timeout: 60.0, requests: 1000 }
    }
}

/// `{"host:port": weight}`, or a list of nodes.
fn nodes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Node>, D::Error> {
    use serde::de::Error;
    let list = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(Vec::new()),
        Value::Object(map) => {
            let node = |(address, weight): (String, Value)| {
                let (host, port) = split_port(&address);
                let weight = weight.as_f64().unwrap_or_default() as u32;
                Node { host: bare(host).into(), port, weight, priority: 0 }
            };
            return Ok(map.into_iter().map(node).collect());
        }
        list => list,
    };
    let mut nodes: Vec<Node> = serde_json::from_value(list).map_err(D::Error::custom)?;
    for node in &mut nodes {
        if let Some(inner) = node.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            node.host = inner.into();
        }
    }
    Ok(nodes)
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// `host:port`, `host`, `[v6]:port`, `[v6]`.
fn split_port(address: &str) -> (&str, Option<u16>) {
    if address.ends_with(']') {
        return (address, None);
    }
    match address.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (address, None),
        },
        None => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_of_nodes() {
        let upstream: Upstream =
            serde_json::from_value(json!({"nodes": {"127.0.0.1:80": 2, "foo.com": 1, "[::1]:8080": 0}}))
                .unwrap();
        let node = |host: &str, port, weight| Node { host: host.into(), port, weight, priority: 0 };
        assert_eq!(
            upstream.nodes,
            [node("127.0.0.1", Some(80), 2), node("foo.com", None, 1), node("::1", Some(8080), 0)]
        );
        let list = json!({"nodes": [{"host": "[::1]", "port": 80, "weight": 1, "priority": -1, "metadata": {"a": 1}}]});
        let upstream: Upstream = serde_json::from_value(list).unwrap();
        assert_eq!(upstream.nodes, [Node { host: "::1".into(), port: Some(80), weight: 1, priority: -1 }]);
    }
}
