/** A line of a few points in a row of a table. */

import type { LossLine } from "../data/messages";
import { sparkPath, sparkText } from "../data/spark";

const WIDTH = 88;
const HEIGHT = 20;
const ROOM = 2; // for the thickness of the line

export function Spark({ line }: { line: LossLine }) {
  const text = sparkText(line);
  return (
    <svg class="spark" role="img" aria-label={text} width={WIDTH} height={HEIGHT}>
      <title>{text}</title>
      <path
        d={sparkPath(line, WIDTH - 2 * ROOM, HEIGHT - 2 * ROOM)}
        transform={`translate(${ROOM} ${ROOM})`}
      />
    </svg>
  );
}
