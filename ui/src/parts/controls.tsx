/** Controls that views share. */

interface SelectProps {
  name: string;
  value: string;
  /** Value → what it is called. */
  options: readonly (readonly [value: string, text: string])[];
  onChoose: (value: string) => void;
  class?: string;
}

/** A choice of one of several values. */
export function Select({ name, value, options, onChoose, class: look }: SelectProps) {
  return (
    <label class={look}>
      <span>{name}</span>
      <select value={value} onChange={(event) => onChoose(event.currentTarget.value)}>
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

interface SmoothingProps {
  share: number;
  onMove: (share: number) => void;
  /** Called where the slider is let go. */
  onSet?: (share: number) => void;
}

export function Smoothing({ share, onMove, onSet }: SmoothingProps) {
  return (
    <label class="slider">
      Smoothing
      <input
        type="range"
        min="0"
        max="0.98"
        step="0.02"
        value={share}
        onInput={(event) => onMove(Number(event.currentTarget.value))}
        onChange={(event) => onSet?.(Number(event.currentTarget.value))}
      />
    </label>
  );
}

interface SwitchProps {
  name: string;
  isOn: boolean;
  onTurn: (isOn: boolean) => void;
}

/** A button that stays pressed. */
export function Switch({ name, isOn, onTurn }: SwitchProps) {
  return (
    <button type="button" class="button small" aria-pressed={isOn} onClick={() => onTurn(!isOn)}>
      {name}
    </button>
  );
}
