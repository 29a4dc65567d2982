//! What this worker serves: every resource, compiled, in tables that are patched in place.
//!
//! A worker is one thread: a change is applied between two requests. What cannot be compiled leaves the object as it was,
//! is logged once and reported. Objects are shared by pointer, so requests in flight keep what they have.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use schemas::resource::{Consumer, Credential, PluginHolder, Plugins, Route, Service, Upstream};
use schemas::{Change, Key, Kind, Role, Update, Validator};
use serde::de::DeserializeOwned;
use serde_json::Value;
use smallvec::SmallVec;

use super::auth::Binding;
use super::plan::{Leads, Plan};
use super::plugins::PluginSet;
use super::router::{RouteEntry, Router};
use super::target::Target;
use crate::log::{self, Level};
use crate::plugin;
use crate::request::Request;

/// See the module's documentation.
#[derive(Default)]
pub struct Live {
    tables: RefCell<Tables>,
    revision: Cell<Option<u64>>,
}

#[derive(Default)]
struct Tables {
    /// Counts changes to anything plans are made from.
    epoch: u64,
    router: Router,
    routes: HashMap<Box<str>, Filed>,
    services: HashMap<Box<str>, Rc<ServiceEntry>>,
    /// Routes by the service they name, for those that take its hosts.
    routes_of_service: HashMap<Box<str>, BTreeSet<Box<str>>>,
    upstreams: HashMap<Box<str>, Rc<Target>>,
    plugin_configs: HashMap<Box<str>, (u64, PluginSet)>,
    consumer_groups: HashMap<Box<str>, PluginSet>,
    global_rules: HashMap<Box<str>, PluginSet>,
    /// All of `global_rules`, merged.
    global: PluginSet,
    consumers: HashMap<Box<str>, ConsumerEntry>,
    credentials: HashMap<Box<str>, Plugins>,
    /// By plugin and identity.
    identities: HashMap<&'static str, HashMap<Box<str>, Rc<Binding>>>,
    metadata: HashMap<Box<str>, Value>,
    /// Revisions of what stands in the tables.
    modified: HashMap<Key, u64>,
}

/// A route and the hosts it is filed under.
struct Filed {
    entry: Rc<RouteEntry>,
    hosts: Vec<Box<str>>,
}

struct ServiceEntry {
    modified: u64,
    service: Service,
    plugins: PluginSet,
    target: Option<Rc<Target>>,
}

struct ConsumerEntry {
    consumer: Rc<Consumer>,
    plugins: PluginSet,
}

/// An object that cannot be used.
pub(super) type Refused = (Key, String);

impl Live {
    /// The revision that is served; `None` before the first snapshot.
    pub fn revision(&self) -> Option<u64> {
        self.revision.get()
    }

    /// Whether `update` can be applied to what is served.
    pub(super) fn accepts(&self, update: &Update) -> Result<(), String> {
        match update.from {
            None => Ok(()),
            Some(from) if self.revision.get() == Some(from) => Ok(()),
            Some(from) => {
                Err(format!("update builds on revision {from}, served is {:?}", self.revision.get()))
            }
        }
    }

    /// Keys that a snapshot does not contain any more.
    pub(super) fn gone(&self, update: &Update) -> Vec<Key> {
        if update.from.is_some() {
            return Vec::new();
        }
        let present: HashSet<&Key> = update.changes.iter().map(|change| &change.key).collect();
        let tables = self.tables.borrow();
        tables.modified.keys().filter(|key| !present.contains(key)).cloned().collect()
    }

    /// Applies one change. `Err`: why the object cannot be used.
    pub(super) fn apply(&self, change: &Change) -> Result<(), String> {
        let mut tables = self.tables.borrow_mut();
        if change.value.is_some() && tables.modified.get(&change.key) == Some(&change.modified) {
            // a snapshot repeats what is known
            return Ok(());
        }
        tables.apply(change)?;
        match change.value {
            Some(_) => tables.modified.insert(change.key.clone(), change.modified),
            None => tables.modified.remove(&change.key),
        };
        Ok(())
    }

    /// Removes an object.
    pub(super) fn remove(&self, key: &Key) {
        let mut tables = self.tables.borrow_mut();
        tables.remove(key);
        tables.modified.remove(key);
    }

    /// All of an update is applied.
    pub(super) fn reached(&self, revision: u64) {
        self.revision.set(Some(revision));
    }

    /// The route of `req`.
    pub(super) fn find(&self, req: &mut Request) -> Option<Rc<RouteEntry>> {
        let tables = self.tables.borrow();
        // copied, because conditions may look at the request while it is searched for
        let host: SmallVec<[u8; 64]> = SmallVec::from_slice(&req.host);
        let path: SmallVec<[u8; 128]> = SmallVec::from_slice(&req.uri);
        tables.router.find(&host, &path, |route| route.fits(req))
    }

    /// What requests of `route` do. `Err`: the status when it refers to something that is not there.
    pub(super) fn plan(&self, route: &Rc<RouteEntry>) -> Result<Rc<Plan>, u16> {
        let tables = self.tables.borrow();
        if let Some(plan) = &*route.plan.borrow()
            && (plan.epoch.get() == tables.epoch || plan.made_from == tables.made_from(route))
        {
            plan.epoch.set(tables.epoch);
            return Ok(Rc::clone(plan));
        }
        let plan = Rc::new(tables.plan(route)?);
        *route.plan.borrow_mut() = Some(Rc::clone(&plan));
        Ok(plan)
    }

    /// The upstream resource `id`.
    pub(super) fn upstream(&self, id: &str) -> Option<Rc<Target>> {
        self.tables.borrow().upstreams.get(id).cloned()
    }

    /// The plugins of all global rules.
    pub(super) fn global(&self) -> PluginSet {
        self.tables.borrow().global.clone()
    }

    /// The plugins of a consumer group.
    pub(super) fn consumer_group(&self, id: &str) -> Option<PluginSet> {
        self.tables.borrow().consumer_groups.get(id).cloned()
    }

    /// See [`super::find_consumer`].
    pub(super) fn consumer_by_identity(&self, plugin: &str, identity: &str) -> Option<Rc<Binding>> {
        self.tables.borrow().identities.get(plugin)?.get(identity).cloned()
    }

    /// See [`super::find_anonymous`].
    pub(super) fn consumer_by_name(&self, name: &str) -> Option<Rc<Binding>> {
        let tables = self.tables.borrow();
        let entry = tables.consumers.get(name)?;
        Some(Rc::new(Binding {
            consumer: Rc::clone(&entry.consumer),
            credential: None,
            conf: Value::Null,
            plugins: entry.plugins.clone(),
        }))
    }

    /// The metadata of a plugin.
    pub fn metadata(&self, plugin: &str) -> Option<Value> {
        self.tables.borrow().metadata.get(plugin).cloned()
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

impl Tables {
    fn apply(&mut self, change: &Change) -> Result<(), String> {
        let Some(json) = &change.value else {
            self.remove(&change.key);
            return Ok(());
        };
        let id = &*change.key.id;
        let parent = change.key.to_string();
        let holder = || PluginSet::prepare(&parse::<PluginHolder>(json)?.plugins, &parent);
        match change.key.kind {
            Kind::Route => self.set_route(change, parse(json)?, &parent)?,
            Kind::Service => self.set_service(change, parse(json)?, &parent)?,
            Kind::Upstream => {
                let resource: Upstream = parse(json)?;
                let target = Rc::new(Target::new(id, resource)?);
                self.upstreams.insert(id.into(), target);
            }
            Kind::PluginConfig => {
                let plugins = holder()?;
                self.plugin_configs.insert(id.into(), (change.modified, plugins));
            }
            Kind::ConsumerGroup => {
                let plugins = holder()?;
                self.consumer_groups.insert(id.into(), plugins);
            }
            Kind::GlobalRule => {
                let plugins = holder()?;
                self.global_rules.insert(id.into(), plugins);
                self.merge_global();
            }
            Kind::Consumer => self.set_consumer(id, parse(json)?, &parent)?,
            Kind::Credential => {
                let credential: Credential = parse(json)?;
                self.credentials.insert(id.into(), credential.plugins);
                self.identify(change.key.consumer().unwrap_or_default())?;
            }
            Kind::PluginMetadata => {
                self.metadata.insert(id.into(), parse(json)?);
            }
            Kind::Secret | Kind::Proto | Kind::Ssl | Kind::StreamRoute => {}
        }
        self.epoch += 1;
        Ok(())
    }

    fn remove(&mut self, key: &Key) {
        let id = &*key.id;
        match key.kind {
            Kind::Route => self.unfile(id),
            Kind::Service => {
                self.services.remove(id);
                self.refile_routes_of(id);
            }
            Kind::Upstream => drop(self.upstreams.remove(id)),
            Kind::PluginConfig => drop(self.plugin_configs.remove(id)),
            Kind::ConsumerGroup => drop(self.consumer_groups.remove(id)),
            Kind::GlobalRule => {
                self.global_rules.remove(id);
                self.merge_global();
            }
            Kind::Consumer => {
                self.consumers.remove(id);
                self.forget_identities(id);
            }
            Kind::Credential => {
                self.credentials.remove(id);
                let consumer = key.consumer().unwrap_or_default();
                if let Err(reason) = self.identify(consumer) {
                    log::process(Level::Error, format_args!("consumer \"{consumer}\": {reason}"));
                }
            }
            Kind::PluginMetadata => drop(self.metadata.remove(id)),
            Kind::Secret | Kind::Proto | Kind::Ssl | Kind::StreamRoute => {}
        }
        self.epoch += 1;
    }

    // === routes and services ===

    fn set_route(&mut self, change: &Change, route: Route, parent: &str) -> Result<(), String> {
        let plugins = PluginSet::prepare(&route.plugins, parent)?;
        let id = &*change.key.id;
        let target = route.upstream.clone().map(|upstream| Target::new(id, upstream)).transpose()?;
        let entry = Rc::new(RouteEntry::new(id, change.created, route, plugins, target.map(Rc::new))?);
        self.unfile(id);
        self.file(entry);
        Ok(())
    }

    fn file(&mut self, entry: Rc<RouteEntry>) {
        let mut hosts: Vec<Box<str>> = entry.route.own_hosts().map(Into::into).collect();
        if let Some(service) = &entry.route.service_id {
            self.routes_of_service.entry(service.clone()).or_default().insert(entry.id.clone());
            if hosts.is_empty()
                && let Some(service) = self.services.get(service)
            {
                hosts.clone_from(&service.service.hosts);
            }
        }
        if entry.route.is_enabled() {
            self.router.insert(&entry, &hosts);
        }
        self.routes.insert(entry.id.clone(), Filed { entry, hosts });
    }

    fn unfile(&mut self, id: &str) {
        let Some(Filed { entry, hosts }) = self.routes.remove(id) else { return };
        self.router.remove(&entry, &hosts);
        if let Some(service) = &entry.route.service_id
            && let Some(routes) = self.routes_of_service.get_mut(service)
        {
            routes.remove(id);
            if routes.is_empty() {
                self.routes_of_service.remove(service);
            }
        }
    }

    fn set_service(&mut self, change: &Change, service: Service, parent: &str) -> Result<(), String> {
        let id = &*change.key.id;
        let plugins = PluginSet::prepare(&service.plugins, parent)?;
        let target = service.upstream.clone().map(|upstream| Target::new(id, upstream)).transpose()?;
        let hosts = service.hosts.clone();
        let entry = ServiceEntry { modified: change.modified, service, plugins, target: target.map(Rc::new) };
        let before = self.services.insert(id.into(), Rc::new(entry));
        if before.map_or(Vec::new(), |before| before.service.hosts.clone()) != hosts {
            self.refile_routes_of(id);
        }
        Ok(())
    }

    /// Routes without hosts of their own stand under those of their service.
    fn refile_routes_of(&mut self, service: &str) {
        let Some(ids) = self.routes_of_service.get(service).cloned() else { return };
        for id in ids {
            let Some(filed) = self.routes.get(&id) else { continue };
            if filed.entry.route.own_hosts().next().is_none() {
                let entry = Rc::clone(&filed.entry);
                self.unfile(&id);
                self.file(entry);
            }
        }
    }

    /// Revisions of plugin config and service of `route`; 0: it is not there or not named.
    fn made_from(&self, route: &RouteEntry) -> [u64; 2] {
        let config = route.route.plugin_config_id.as_ref().and_then(|id| self.plugin_configs.get(id));
        let service = route.route.service_id.as_ref().and_then(|id| self.services.get(id));
        [config.map_or(0, |(modified, _)| *modified), service.map_or(0, |service| service.modified)]
    }

    fn plan(&self, route: &RouteEntry) -> Result<Plan, u16> {
        let config = match &route.route.plugin_config_id {
            Some(id) => Some(&self.plugin_configs.get(id).ok_or(503u16)?.1),
            None => None,
        };
        let service = match &route.route.service_id {
            Some(id) => Some(self.services.get(id).ok_or(404u16)?),
            None => None,
        };
        let sets = [Some(&route.plugins), config, service.map(|service| &service.plugins)];
        let plugins = PluginSet::merge(sets.into_iter().flatten());
        let own = route.route.upstream_id.clone().map(Leads::ById).or(route.target.clone().map(Leads::Here));
        let of_service = || {
            let service = service?;
            service.service.upstream_id.clone().map(Leads::ById).or(service.target.clone().map(Leads::Here))
        };
        let of = |service: &Rc<ServiceEntry>| service.service.enable_websocket;
        Ok(Plan {
            epoch: Cell::new(self.epoch),
            made_from: self.made_from(route),
            authenticates: plugins.list.iter().any(|plugin| plugin.auth),
            plugins,
            leads: own.or_else(of_service).unwrap_or(Leads::Nowhere),
            websocket: route.route.enable_websocket.or(service.and_then(of)).unwrap_or(false),
            timeout: route.route.timeout,
            service_name: service.and_then(|service| service.service.name.clone()),
            settings: RefCell::new(None),
        })
    }

    // === the others ===

    fn merge_global(&mut self) {
        self.global = PluginSet::merge(self.global_rules.values());
    }

    fn set_consumer(&mut self, name: &str, consumer: Consumer, parent: &str) -> Result<(), String> {
        // what identifies the consumer is no plugin that runs
        let mut running = consumer.plugins.clone();
        running.retain(|name, _| !plugin::find(name).is_some_and(|entry| entry.spec.auth));
        let plugins = PluginSet::prepare(&running, parent)?;
        self.consumers.insert(name.into(), ConsumerEntry { consumer: Rc::new(consumer), plugins });
        self.identify(name)
    }

    fn forget_identities(&mut self, consumer: &str) {
        for identities in self.identities.values_mut() {
            identities.retain(|_, binding| binding.name() != consumer);
        }
    }

    /// Files a consumer under everything it is known by.
    fn identify(&mut self, name: &str) -> Result<(), String> {
        self.forget_identities(name);
        let Some(entry) = self.consumers.get(name) else { return Ok(()) };
        let prefix = format!("{name}/credentials/");
        let own = entry.consumer.plugins.iter().map(|(plugin, conf)| (plugin, conf, None));
        let credentials =
            self.credentials.iter().filter_map(|(id, plugins)| Some((id.strip_prefix(&prefix)?, plugins)));
        let others = credentials.flat_map(|(id, plugins)| {
            plugins.iter().map(move |(plugin, conf)| (plugin, conf, Some(Box::<str>::from(id))))
        });
        let mut found = Vec::new();
        for (plugin, conf, credential) in own.chain(others) {
            let Some(known) = plugin::find(plugin).filter(|known| known.spec.auth) else { continue };
            let mut conf = conf.clone();
            if let Some(schema) = known.spec.schema_of(Role::Consumer) {
                Validator::built_in(schema).fill(&mut conf);
            }
            let Some(identity) = conf.get(known.spec.identity).and_then(Value::as_str) else { continue };
            let identity: Box<str> = identity.into();
            let binding = Binding {
                consumer: Rc::clone(&entry.consumer),
                credential,
                conf,
                plugins: entry.plugins.clone(),
            };
            found.push((known.spec.name, identity, Rc::new(binding)));
        }
        for (plugin, identity, binding) in found {
            self.identities.entry(plugin).or_default().insert(identity, binding);
        }
        Ok(())
    }
}
