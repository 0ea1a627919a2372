import { describe, expect, test } from "vitest";
import {
  changed,
  compareAddress,
  idsIn,
  runAddress,
  runsQuery,
  toggled,
  viewOf,
  withoutId,
} from "../src/data/address";
import { looks } from "../src/data/colours";
import {
  aligned,
  bestSoFar,
  drawn,
  higher,
  lower,
  smoothed,
  thinned,
  trainCurve,
  union,
  withoutOutliers,
} from "../src/data/curves";
import {
  bytes,
  clock,
  counted,
  figure,
  int,
  percent,
  real,
  seconds,
  span,
  tick,
} from "../src/data/numbers";
