package main

import (
	"strings"
	"testing"
)

func TestFioFile(t *testing.T) {
	o := options{size: 1 << 20, long: 8 << 20}
	j, err := parseJob("w", "; loop numjobs=16 iodepth=1\n[w]\nrw=randwrite\nnumjobs=4\n")
	if err != nil {
		t.Fatal(err)
	}
	nbd := fioFile(o, load{job: j, seed: 2, secs: 3, limit: 400}, &target{engine: []string{"ioengine=nbd"}})
	for _, want := range []string{"ioengine=nbd\n", "size=1048576\n", "randseed=2\n", "runtime=3\n", "rate_iops=100\n"} {
		if !strings.Contains(nbd, want) {
			t.Errorf("no %q in\n%s", want, nbd)
		}
	}
	loop := fioFile(o, load{job: j, limit: 400}, &target{loop: true})
	if !strings.HasSuffix(loop, "numjobs=4\nnumjobs=16\niodepth=1\nrate_iops=25\n") {
		t.Errorf("loop:\n%s", loop)
	}
	j.disk = diskLong
	if long := fioFile(o, load{job: j}, &target{}); strings.Contains(long, "time_based") || !strings.Contains(long, "size=8388608\n") {
		t.Errorf("long:\n%s", long)
	}
}

func TestRateOfAMixIsSpreadOverBothDirections(t *testing.T) {
	l := load{job: job{text: "rw=randrw\nrwmixread=70\n"}, limit: 1000}
	if got := rate(l, 1); got != "rate_iops=700,300\n" && got != "rate_iops=700,299\n" {
		t.Error(got)
	}
}

func TestParseFIO(t *testing.T) {
	out := `note: something
{"jobs":[{"error":0,
 "read":{"iops":70,"bw_bytes":1048576,"total_ios":7,"clat_ns":{"percentile":{"50.000000":1000,"99.000000":9000}}},
 "write":{"iops":30,"bw_bytes":1048576,"total_ios":3,"clat_ns":{"percentile":{"50.000000":2000,"99.000000":3000}}},
 "sync":{"total_ios":1,"lat_ns":{"percentile":{"50.000000":4000,"99.000000":5000}}}}]}`
	m, err := parseFIO([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if m != (measurement{IOPS: 100, MiBps: 2, P50us: 2, P99us: 9, FlushP50us: 4, FlushP99us: 5}) {
		t.Errorf("%+v", m)
	}
	for _, bad := range []string{``, `{}`, `{"jobs":[{"error":5}]}`, `{"jobs":[{"error":0}]}`} {
		if _, err := parseFIO([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
