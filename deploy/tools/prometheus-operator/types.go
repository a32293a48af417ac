// Package types names the types whose custom resource definitions controller-gen writes.
package types

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
