//! The metrics of every service besides those of its telemetry.

telemetry::label! {
    /// A fault by its name.
    pub(crate) struct Fault(&'static str);
}
telemetry::label! {
    /// Something that the service needs.
    pub(crate) struct Dependency(&'static str);
}

telemetry::metrics! {
    /// 1 while the named fault is switched on, else 0.
    pub(crate) FAULT_ACTIVE: Gauge { fault: Fault } = "fault_active", unit "1";
    /// 1 while the service is ready to take requests, else 0.
    pub(crate) SERVICE_READY: Gauge = "service_ready", unit "1";
    /// 1 while the named dependency answers, else 0.
    pub(crate) DEPENDENCY_UP: Gauge { dependency: Dependency } = "service_dependency_up", unit "1";
    /// How often the service has become ready or ceased to be.
    pub(crate) READINESS_CHANGES: Counter = "service_readiness_changes_total", unit "{change}";
}
