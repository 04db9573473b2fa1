{{- /* The name of everything: the release's, with the chart's unless it has it. */ -}}
{{- define "cairn.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{- /* The label of a pod is at most 63 characters, its name has room for a number. */ -}}
{{- define "cairn.fullname" -}}
{{ include "cairn.name" . | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "cairn.headless" -}}
{{ include "cairn.fullname" . }}-nodes
{{- end }}

{{- define "cairn.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cairn.labels" -}}
{{ include "cairn.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* The domain in which the pods have their names. */ -}}
{{- define "cairn.domain" -}}
{{ include "cairn.headless" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{- /* Every node by the name that it keeps for life, whatever its address. */ -}}
{{- define "cairn.peers" -}}
{{- $peers := list -}}
{{- range $number := until (int .Values.replicas) -}}
{{- $peers = append $peers (printf "%s-%d.%s:6379" (include "cairn.fullname" $) $number (include "cairn.domain" $)) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end }}

{{- define "cairn.secret" -}}
{{ .Values.auth.existingSecret | default (include "cairn.fullname" .) }}
{{- end }}
