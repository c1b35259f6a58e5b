/* The four numbers above the board, and the word to Python when the run's state changes, so that its buttons follow. */
import { choicesInWords, durationInWords, rateInWords, short } from "../shared/format.js";
import { currentPalette, element, mountOnce, say, withElements } from "../shared/mount.js";
import { liveRun } from "../shared/run_stream.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let latest = null;
    let leave = null;
    let runId = null;
    let told = null;
    let status = null;
    let row = null;
    let measured = null;
    let lost = false;

    const cards = element("div", "cards");
    root.appendChild(cards);
    const card = (name) => {
      const box = element("div", "stat");
      const parts = { name: element("div", "stat-name", name), value: element("div", "stat-value", "–"), note: element("div", "stat-note") };
      box.append(parts.name, parts.value, parts.note);
      cards.appendChild(box);
      return parts;
    };
    const loss = card(say("Validation loss"));
    const speed = card(say("Speed"));
    const rate = card(say("Learning rate"));
    const time = card(say("Steps"));
    time.value.classList.add("stat-time");
    const bar = element("div", "bar");
    bar.appendChild(element("div"));
    bar.setAttribute("role", "progressbar");
    time.note.replaceWith(bar);
    const progress = element("div", "progress");
    const advice = element("span");
    advice.setAttribute("role", "status");
    const fork = element("button", "fork");
    fork.type = "button";
    fork.addEventListener("click", () => latest.setTriggerValue("fork", status.progress.back));
    progress.append(advice, fork);
    root.appendChild(progress);

    function draw() {
      const { data } = latest;
      loss.value.style.color = currentPalette(root, data.palettes).validation;
      loss.value.textContent = measured ? measured.val_loss.toFixed(2) : "–";
      if (measured) {
        const bold = element("b", "", choicesInWords(Math.exp(measured.val_loss)));
        const beaten = passed(measured.val_loss, status?.baselines);
        loss.note.replaceChildren(...withElements(say("like choosing among {choices} letters · {passed}", { passed: beaten }), { choices: bold }));
      } else {
        loss.note.textContent = say("measured on text it never trains on");
      }
      speed.value.textContent = row?.tokens_per_second ? short(row.tokens_per_second) : "–";
      speed.note.textContent = say("letters a second, {machine}", { machine: data.machine });
      rate.value.textContent = row && row.lr !== undefined ? rateInWords(row.lr) : "–";
      rate.note.textContent = row && row.grad_norm !== undefined ? gradientInWords(row.grad_norm, data.grad_clip) : say("gradient norm");
      const step = status ? status.step : 0;
      const steps = (status?.steps) || data.steps;
      const done = status && status.state === "finished" && status.seconds;
      const counted = { step: step.toLocaleString("en"), steps: steps.toLocaleString("en") };
      time.name.textContent = done ? say("{steps} steps, done in", counted) : say("Step {step} of {steps}", counted);
      time.value.textContent = lost ? say("reconnecting …") : timeInWords(status, data);
      const share = Math.min(1, step / steps);
      bar.firstChild.style.width = `${100 * share}%`;
      bar.setAttribute("aria-valuenow", Math.round(100 * share));
      const told = status?.progress;
      const words = told ? say(told.sentence, told.numbers) : "";
      if (advice.textContent !== words) advice.textContent = words; // a screen reader reads out every change
      progress.classList.toggle("trouble", Boolean(told?.trouble));
      const back = told?.back ?? null;
      fork.hidden = back === null;
      if (back !== null) fork.textContent = say("Fork from step {step}", { step: back.toLocaleString("en") });
    }

    return {
      update(next) {
        latest = next;
        if (next.data.run !== runId) {
          leave?.();
          runId = next.data.run;
          row = measured = status = told = null;
          leave = liveRun(runId).subscribe({
            metrics(rows) {
              row = rows.findLast((one) => one.loss !== undefined) || row;
              measured = rows.findLast((one) => one.val_loss !== undefined && one.val_loss !== null) || measured;
              draw();
            },
            status(value) {
              status = value;
              draw();
              const news = newsOf(value);
              if (news !== newsOf(latest.data) && news !== told) {
                told = news;
                latest.setTriggerValue("state", value.state);
              }
            },
            connection(state) {
              lost = state === "lost";
              draw();
            },
          });
        }
        if (told === newsOf(next.data)) told = null;
        if (!["finished", "stopped", "failed"].includes(next.data.state)) liveRun(runId).wake();
        draw();
      },
      destroy: () => leave?.(),
    };
  });
}

/* What the page around the numbers says of the run: when it changes, the page is drawn again. */
function newsOf({ state, attempt, name, notice }) {
  return JSON.stringify([state, attempt, name, notice || ""]);
}

/* Which of the counted lines this loss lies under. */
function passed(loss, baselines) {
  if (!baselines) return say("lower is better");
  const names = {
    uniform: say("better than guessing"), unigram: say("better than counting letters"),
    bigram: say("better than counting pairs"), trigram: say("better than counting triples"),
  };
  const beaten = Object.keys(names).filter((name) => loss < baselines[name]);
  return beaten.length ? names[beaten[beaten.length - 1]] : say("no better than guessing yet");
}

function gradientInWords(norm, clip) {
  const shown = norm < 0.095 ? norm.toPrecision(1) : norm.toFixed(1);
  if (!clip) return say("gradient norm {norm}", { norm: shown });
  return norm > clip ? say("gradient norm {norm}, clipped to {clip}", { norm: shown, clip }) : say("gradient norm {norm}", { norm: shown });
}

function timeInWords(status, data) {
  const state = status ? status.state : data.state;
  if (state === "queued") return say("waiting");
  if (state === "starting") return say("starting …");
  if (state === "running") {
    if (!status || !status.step) return say("starting …");
    return status.seconds_left ? say("{time} left", { time: durationInWords(status.seconds_left) }) : say("estimating …");
  }
  if (state === "finished") return status?.seconds ? durationInWords(status.seconds) : say("done");
  return { paused: say("paused"), stopped: say("stopped"), failed: say("failed") }[state] ?? state;
}
