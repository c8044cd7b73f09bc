package config

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// maxSocketPath is the longest path of a unix socket, in bytes.
const maxSocketPath = 107

// Check returns every rule that c breaks; Line and Column are not set. It
// looks at c only, not at the host: what a path leads to is found out when it
// is opened.
func Check(c *Config) Faults {
	k := &checker{}
	k.name("name", "node", c.Name)
	k.path("data_dir", c.DataDir)
	k.path("run_dir", c.RunDir)
	k.path("identity", c.Identity)
	k.hostPort("listen", c.Listen, false)
	if c.Advertise != "" || len(k.faults) == 0 { // it follows from name and listen
		k.hostPort("advertise", c.Advertise, true)
	}
	k.sockets(c)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
	k.metrics(c.Metrics.Listen)
	if c.Scripts != "" {
		k.path("scripts", c.Scripts)
	}
	if c.Source == nil && c.Target == nil {
		k.add("", "neither source nor target is given", "the section source: protects disks, the section target: makes it a master target")
	}
	if c.Source != nil {
		k.source(c)
	}
	if c.Target != nil {
		k.target(c)
	}
	return k.faults
}

type checker struct{ faults Faults }

func (k *checker) add(key, msg, hint string) {
	k.faults = append(k.faults, Fault{Key: key, Message: msg, Hint: hint})
}

func (k *checker) name(key, what, s string) {
	if s == "" {
		k.add(key, "is missing", "")
	} else if err := redoubt.ValidName(what, s); err != nil {
		k.add(key, strconv.Quote(s)+" is not valid", redoubt.Hint(err))
	}
}

func (k *checker) path(key, s string) {
	switch {
	case s == "":
		k.add(key, "is missing", "")
	case !filepath.IsAbs(s):
		k.add(key, strconv.Quote(s)+" is relative", "a daemon has no folder of its own: write the whole path")
	}
}

func (k *checker) hostPort(key, s string, needHost bool) {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case s == "":
		k.add(key, "is missing", "HOST:PORT")
	case err != nil || perr != nil:
		k.add(key, strconv.Quote(s)+" is not HOST:PORT", "such as host1:"+DefaultPort+", or [2001:db8::1]:"+DefaultPort)
	case needHost && n == 0:
		k.add(key, "port 0 cannot be reached", "")
	case needHost && (host == "" || host == "0.0.0.0" || host == "::"):
		k.add(key, strconv.Quote(s)+" names no host", "others must be able to reach it under this address")
	}
}

func (k *checker) oneOf(key, s string, allowed ...string) {
	if !slices.Contains(allowed, s) {
		k.add(key, strconv.Quote(s)+" is not valid", "one of "+strings.Join(allowed, ", "))
	}
}

func (k *checker) metrics(s string) {
	if p, ok := strings.CutPrefix(s, "unix:"); ok {
		k.path("metrics.listen", p)
	} else if s != "off" {
		k.hostPort("metrics.listen", s, false)
	}
}

// sockets checks the longest path of a socket that the daemon will make.
func (k *checker) sockets(c *Config) {
	longest := c.AdminSocket()
	consider := func(p string) {
		if len(p) > len(longest) {
			longest = p
		}
	}
	if c.Source != nil {
		for _, g := range c.Source.Groups {
			consider(c.NBDSocket(g.Name))
		}
	}
	if c.Target != nil {
		consider(c.ExportSocket(strings.Repeat("x", 40)))
	}
	if len(longest) > maxSocketPath {
		k.add("run_dir", fmt.Sprintf("the socket %s has a path of %d bytes, the kernel takes %d", longest, len(longest), maxSocketPath), "use a shorter run_dir")
	}
	if p := strings.TrimPrefix(c.Metrics.Listen, "unix:"); len(p) > maxSocketPath && !strings.HasPrefix(p, c.RunDir) {
		k.add("metrics.listen", "the path is too long for a socket", fmt.Sprintf("at most %d bytes", maxSocketPath))
	}
}

func (k *checker) size(key string, s, lo, hi Size) {
	if s < lo || s > hi {
		k.add(key, s.String()+" is out of range", fmt.Sprintf("%s to %s", lo, hi))
	}
}

func (k *checker) duration(key string, d, lo, hi Duration) {
	if d < lo || d > hi {
		k.add(key, d.String()+" is out of range", fmt.Sprintf("%s to %s", lo, hi))
	}
}

func (k *checker) target(c *Config) {
	t := c.Target
	k.duration("target.owner_timeout", t.OwnerTimeout, Duration(500*time.Millisecond), Duration(5*time.Minute))
	k.size("target.cache", t.Cache, 16*MiB, TiB)
	if t.Hydrate != "none" && t.Hydrate != "failover" && t.Hydrate != "all" {
		k.add("target.hydrate", strconv.Quote(t.Hydrate)+" is no policy", "none, failover or all")
	}
	k.size("target.hydrate_rate", t.HydrateRate, MiB, TiB)
	if t.Scrub.Rate != 0 {
		k.size("target.scrub.rate", t.Scrub.Rate, 64*KiB, 16*GiB)
	}
	k.duration("target.scrub.every", t.Scrub.Every, Duration(time.Minute), Duration(365*24*time.Hour))
	k.size("target.repair.rate", t.Repair.Rate, MiB, 16*GiB)
	k.duration("target.repair.lag", t.Repair.Lag, Duration(10*time.Millisecond), Duration(time.Minute))
	k.checks(t.Checks)
	k.size("target.compare_rate", t.CompareRate, MiB, 16*GiB)
	if t.Domain != "" {
		k.name("target.domain", "domain", t.Domain)
	}
	for i, a := range t.Join {
		k.hostPort(fmt.Sprintf("target.join[%d]", i), a, true)
	}
	switch {
	case len(t.Join) > 0 && len(t.Bootstrap) > 0:
		k.add("target.join", "is given, and target.bootstrap too", "bootstrap founds a cluster, join enters one: a node does one of them")
		return
	case len(t.Join) > 0:
		return
	case len(t.Bootstrap) == 0:
		k.add("target.bootstrap", "is missing", "list all master targets, this one too: [{name: t1, address: t1:7700}, …]; or target.join, to enter a cluster")
		return
	}
	names, addrs := map[string]string{}, map[string]string{}
	self := false
	for i, n := range t.Bootstrap {
		key := fmt.Sprintf("target.bootstrap[%d]", i)
		k.name(key+".name", "node", string(n.Name))
		k.hostPort(key+".address", n.Address, true)
		k.unique(names, string(n.Name), key+".name")
		k.unique(addrs, n.Address, key+".address")
		if string(n.Name) != c.Name {
			continue
		}
		self = true
		if n.Address != c.Advertise {
			k.add(key+".address", fmt.Sprintf("is %s, but advertise is %s", n.Address, c.Advertise), "the other nodes would look for this one in the wrong place")
		}
	}
	if !self {
		k.add("target.bootstrap", "does not list this node, "+strconv.Quote(c.Name), "the list is the same on every node and names all of them")
	}
}

func (k *checker) checks(c Checks) {
	if c.Scripts != "" {
		k.path("target.checks.scripts", c.Scripts)
	} else if len(c.Schedule) > 0 {
		k.add("target.checks.scripts", "is missing", "the folder of the check scripts, such as /etc/redoubt/checks")
	}
	k.duration("target.checks.time", c.Time, Duration(time.Second), Duration(24*time.Hour))
	for i, s := range c.Schedule {
		key := fmt.Sprintf("target.checks.schedule[%d]", i)
		k.name(key+".group", "group", s.Group)
		k.name(key+".script", "script", s.Script)
		k.oneOf(key+".at", s.At, "latest", "latest-app")
		k.duration(key+".every", s.Every, Duration(time.Minute), Duration(365*24*time.Hour))
	}
}

// unique notes that value stands at key and complains if it stood elsewhere.
func (k *checker) unique(seen map[string]string, value, key string) {
	if value == "" {
		return
	}
	if first, ok := seen[value]; ok {
		k.add(key, strconv.Quote(value)+" is used twice", "first at "+first)
		return
	}
	seen[value] = key
}
