{{/* The names are those of kustomize/: one installation serves a cluster. */}}

{{- define "labels" -}}
{app.kubernetes.io/name: {{ . }}, app.kubernetes.io/part-of: anyedge}
{{- end }}

{{- define "image" -}}
{{- $images := .root.Values.images -}}
image: {{ with $images.registry }}{{ . }}/{{ end }}{{ .name }}:{{ $images.tag }}
{{- with $images.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{- define "pod" -}}
priorityClassName: {{ .root.Values.priorityClass.name }}
dnsPolicy: Default
nodeSelector: {{ toJson .of.nodeSelector }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The files of the ConfigMaps. */}}
{{- define "edgedns.files" -}}
{{- if not .config }}{{ fail "edgedns.config is empty: write the configuration of your site, as the chart's examples do" }}{{ end -}}
edgedns.yaml: |
  {{- toYaml .config | nindent 2 }}
{{- end }}

{{- define "edgeagent.files" -}}
{{- if .nodes }}
{{- range $node, $config := .nodes }}
{{ $node }}.yaml: |
  {{- toYaml $config | nindent 2 }}
{{- end }}
{{- else if .config }}
edgeagent.yaml: |
  {{- toYaml .config | nindent 2 }}
{{- else }}
{{- fail "edgeagent.config and edgeagent.nodes are empty: write the configuration of your site, as the chart's examples do" }}
{{- end }}
{{- end }}
