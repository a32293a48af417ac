// Package dashboards reads `dashboards/*.json` by Grafana's own types, strictly: a field that Grafana requires and that is missing, one that
// it does not know, and one of another type are told with dashboard, panel and field. `just test-dashboards` runs it.
package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func init() { plugins.RegisterDefaultPlugins() }

func TestGrafanaTakesEveryDashboard(t *testing.T) {
	paths, err := filepath.Glob("../../../../dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range refused(filepath.Base(path), text) {
			t.Error(wrong)
		}
	}
}

func TestABrokenDashboardIsRefused(t *testing.T) {
	text, err := os.ReadFile("../../../../dashboards/slo.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct{ from, to, told string }{
		{`"version": 1`, `"version": "1"`, `slo.json.version: json: cannot unmarshal`},
		{`"frameIndex": 0, `, ``, `slo.json: panel "Objectives".options.frameIndex: required field is missing`},
		{`"showHeader"`, `"showHeaders"`, `slo.json: panel "Objectives".options.Options: unexpected field 'showHeaders'`},
		{`"min": 0`, `"min": "0"`, `slo.json: panel "Bad requests per second".fieldConfig: json: cannot unmarshal`},
	} {
		wrong := refused("slo.json", []byte(strings.ReplaceAll(string(text), broken.from, broken.to)))
		if !strings.Contains(wrong.Error(), broken.told) {
			t.Errorf("%s -> %s: %v", broken.from, broken.to, wrong)
		}
	}
}

// What the library says to a dashboard. Panels are read one by one, since it does not say which one it means.
func refused(file string, text []byte) cog.BuildErrors {
	var fields map[string]json.RawMessage
	var panels []json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return cog.MakeBuildErrors(file, err)
	}
	if err := json.Unmarshal(fields["panels"], &panels); err != nil {
		return cog.MakeBuildErrors(file+".panels", err)
	}
	delete(fields, "panels")
	rest, err := json.Marshal(fields)
	if err != nil {
		return cog.MakeBuildErrors(file, err)
	}
	wrong := named(file, new(dashboard.Dashboard).UnmarshalJSONStrict(rest))
	for _, panel := range panels {
		var titled struct{ Title string }
		if err := json.Unmarshal(panel, &titled); err != nil {
			return cog.MakeBuildErrors(file, err)
		}
		place := fmt.Sprintf("%s: panel %q", file, titled.Title)
		wrong = append(wrong, named(place, new(dashboard.PanelOrRowPanel).UnmarshalJSONStrict(panel))...)
	}
	return wrong
}

func named(place string, err error) cog.BuildErrors {
	if err == nil {
		return nil
	}
	return cog.MakeBuildErrors(place, err)
}
