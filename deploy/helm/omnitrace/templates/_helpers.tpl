{{/* Names are those of deploy/compose.yaml, so that its files fit as they are: one release per namespace (docs/adr/0020). */}}

{{/* What selects the pods of a part: (list $ "gateway"). */}}
{{- define "omnitrace.selector" -}}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "omnitrace.labels" -}}
{{ include "omnitrace.selector" . }}
app.kubernetes.io/name: omnitrace
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{- define "omnitrace.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What every pod has, so that the level `restricted` admits it: (list $ UID). */}}
{{- define "omnitrace.pod" -}}
automountServiceAccountToken: false
# Else the cluster sets JAEGER_PORT and the like, which our own settings are called, too.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ index . 1 }}
  runAsGroup: {{ index . 1 }}
  fsGroup: {{ index . 1 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "omnitrace.container" -}}
imagePullPolicy: IfNotPresent
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Not on one machine, not in one zone, as far as there are several: (list $ "gateway"). */}}
{{- define "omnitrace.spread" -}}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "omnitrace.selector" $ | nindent 8 }}
{{- end }}
{{- end }}

{{/* (list $ "gateway" .Values.gateway.replicas): how many, without an autoscaler. */}}
{{- define "omnitrace.replicas" -}}
{{- $replicas := index . 2 }}
{{- if gt (int $replicas.min) (int $replicas.max) }}
{{- fail (printf "%s.replicas.min: %v is more than %s.replicas.max: %v" (index . 1) $replicas.min (index . 1) $replicas.max) }}
{{- end }}
{{- if eq (int $replicas.min) (int $replicas.max) }}
replicas: {{ $replicas.min }}
{{- end }}
{{- end }}

{{/* One pod at a time may be taken away; more come with the load, if the values allow it: (list $ "gateway" REPLICAS). */}}
{{- define "omnitrace.scaling" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ index . 1 }}
  labels: {{- include "omnitrace.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "omnitrace.selector" . | nindent 6 }}
{{- $replicas := index . 2 }}
{{- if gt (int $replicas.max) (int $replicas.min) }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ index . 1 }}
  labels: {{- include "omnitrace.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ index . 1 }}}
  minReplicas: {{ $replicas.min }}
  maxReplicas: {{ $replicas.max }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 300}
{{- end }}
{{- end }}

{{/* A volume that outlives its pod: (list "queue" .Values.herald.storage). */}}
{{- define "omnitrace.claim" -}}
- metadata:
    name: {{ index . 0 }}
  spec:
    accessModes: [ReadWriteOnce]
{{- with (index . 1).class }}
    storageClassName: {{ . }}
{{- end }}
    resources: {requests: {storage: {{ (index . 1).size }}}}
{{- end }}

{{/* A variable from a Secret: (list NAME SECRET KEY). */}}
{{- define "omnitrace.secret" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}
{{- end }}

{{/* Where telemetry goes and what it says of its pod. service.instance.id stays a new one per process: evidence tells by it that one has ended. */}}
{{- define "omnitrace.telemetry" -}}
- name: K8S_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: K8S_NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: service.namespace=omnitrace,deployment.environment.name={{ .Values.environment }},k8s.namespace.name={{ .Release.Namespace }},k8s.pod.name=$(K8S_POD_NAME),k8s.node.name=$(K8S_NODE_NAME)
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: http://collector:4318
# Spans must reach tier 2 before it decides about their trace.
- {name: OTEL_BSP_SCHEDULE_DELAY, value: "500"}
- {name: OMNITRACE_LOG_FORMAT, value: json}
{{- end }}

{{- define "omnitrace.database" -}}
{{- $secret := .Values.secrets.services }}
{{- if .Values.trial.enabled }}
{{- include "omnitrace.secret" (list "OMNITRACE_DATA_PASSWORD" $secret "OMNITRACE_DATA_PASSWORD") }}
- name: DATABASE_URL
  value: postgres://omnitrace:$(OMNITRACE_DATA_PASSWORD)@postgres:5432/omnitrace
{{- else }}
{{- include "omnitrace.secret" (list "DATABASE_URL" $secret "DATABASE_URL") }}
{{- end }}
{{- end }}

{{/* Where evidence is read: an address of the values, or one with a login from the Secret. */}}
{{- define "omnitrace.backends" -}}
{{- range $name, $url := dict "PROMETHEUS_URL" .Values.backends.metrics "JAEGER_URL" .Values.backends.traces "LOKI_URL" .Values.backends.logs }}
{{- if $url }}
- {name: {{ $name }}, value: {{ $url | quote }}}
{{- else }}
{{ include "omnitrace.secret" (list $name $.Values.secrets.services $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "omnitrace.scrapeInterval" -}}
{{ ternary "15s" "5s" (eq .Values.monitoring.profile "production") }}
{{- end }}

{{- define "omnitrace.monitoringNamespace" -}}
{{ .Values.monitoring.namespace | default .Release.Namespace }}
{{- end }}

{{/* A file that the archive must hold: (list $ "collector/collector.yaml"). */}}
{{- define "omnitrace.file" -}}
{{ required (printf "files/%s is missing in the chart" (index . 1)) ((index . 0).Files.Get (printf "files/%s" (index . 1))) }}
{{- end }}
