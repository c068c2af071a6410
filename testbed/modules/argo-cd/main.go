// The cache in which Argo CD keeps what it worked out: the in-memory Redis that its own tests run against.
package main

import (
	"flag"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
)

const tick = 100 * time.Millisecond

func main() {
	address := flag.String("address", "127.0.0.1:6379", "where to listen")
	flag.Parse()
	redis := miniredis.NewMiniRedis()
	if err := redis.StartAddr(*address); err != nil {
		log.Fatal(err)
	}
	// Keys expire by this clock only.
	for range time.Tick(tick) {
		redis.FastForward(tick)
	}
}
