// Package metrics turns a daemon's status into Prometheus' metrics, and serves
// them with profiles and a sign of life. docs/METRICS.md says what each means.
package metrics
